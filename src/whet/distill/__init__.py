"""What ``whet distill`` does: recipes, losses, the loop."""

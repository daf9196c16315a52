"""The parts of the web application; :mod:`whet.apps.server` puts them together."""

"""The parts of the web application; :mod:`whet.web.app` puts them together."""

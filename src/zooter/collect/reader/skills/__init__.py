"""The embedded zoo's skills: templates that draw queries with reference answers, and their exact verification."""

"""The templates of the pages."""

import jinja2


def environment() -> jinja2.Environment:
    """The pages' templates; what they print is escaped, and what they miss is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("dtc_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

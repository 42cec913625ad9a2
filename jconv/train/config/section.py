"""What the sections of a config are made of."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_bool(value: Any) -> Any:
    # YAML reads `yes` and `on` as True, and Python takes True for 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Int = Annotated[int, BeforeValidator(_no_bool)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[Int, Field(ge=1, le=10**9)]
Seed = Annotated[Int, Field(ge=0, lt=2**32)]
Share = Annotated[Real, Field(ge=0, lt=1)]
Positive = Annotated[Real, Field(gt=0)]


class Section(BaseModel):
    """A part of a config: what it does not name is an error, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

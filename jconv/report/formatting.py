"""Formatting of numbers, fractions and times for readers."""

import math


def number(value: float, digits: int = 4) -> str:
    """Format a number with digit grouping, or as a power of ten.

    >>> number(1200), number(0.05), number(0.0000321), number(-2.0)
    ('1,200', '0.05', '3.21·10⁻⁵', '−2')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0 or 1e-3 <= abs(value) < 1e7 or isinstance(value, int):
        whole = isinstance(value, int) or abs(value) >= 10 ** (digits - 1)
        text = f"{value:,.0f}" if whole else f"{value:,.{digits}g}"
        return text.replace("-", "−")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"


def percent(fraction: float, decimals: int = 1) -> str:
    r"""Format a fraction of one in percent; fractions below one are not rounded to 100 %.

    >>> percent(0.98889), percent(1.0), percent(0.9996)
    ('98.9\u202f%', '100\u202f%', '99.96\u202f%')
    """
    if not math.isfinite(fraction):
        return number(fraction)
    while fraction not in (0, 1) and round(fraction, decimals + 2) in (0, 1) and decimals < 4:
        decimals += 1
    return _percent(fraction, decimals)


def _percent(fraction: float, decimals: int) -> str:
    return f"{100 * fraction:.{decimals}f}".rstrip("0").rstrip(".") + "\u202f%"


def percent_with_error(fraction: float, error: float) -> str:
    r"""Format a fraction of one in percent, to the first digit of its standard error.

    >>> percent_with_error(0.98889, 0.0021), percent_with_error(0.98889, 0.0004)
    ('98.9\u202f% ± 0.2\u202f%', '98.89\u202f% ± 0.04\u202f%')
    """
    has_digits = 0 < error < math.inf
    decimals = min(max(1, -math.floor(math.log10(100 * error))), 4) if has_digits else 1
    if not (math.isfinite(fraction) and math.isfinite(error)):
        return f"{percent(fraction)} ± {percent(error)}"
    return f"{_percent(fraction, decimals)} ± {_percent(error, decimals)}"


def number_with_error(value: float, error: float) -> str:
    """Format a number, to the second digit of its standard error.

    >>> number_with_error(0.04213, 0.00121), number_with_error(3158.2, 41.0)
    ('0.0421 ± 0.0012', '3,158 ± 41')
    """
    decimals = 1 - math.floor(math.log10(error)) if 0 < error < math.inf else 99
    if decimals > 6 or not abs(value) < 1e7:
        return f"{number(value)} ± {number(error, 2)}"
    decimals = max(decimals, 0)
    return f"{value:,.{decimals}f} ± {error:,.{decimals}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Format a time in seconds, minutes or hours.

    >>> duration(0.82), duration(24.3), duration(200), duration(3900)
    ('0.82 s', '24 s', '3 min 20 s', '1 h 5 min')
    """
    if not math.isfinite(seconds) or seconds < 10:
        return f"{number(seconds, 2)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"

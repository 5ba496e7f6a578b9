"""A vehicle's identifiers as a controller's filters: (id, mask, extended) each; a frame passes by any of them."""


def reduced(filters, most):
    """At most `most` filters that let the same frames through, and others where there must be fewer than there are.

    most: at least 2. Bits of the identifiers are left out, first those that join the most filters.
    """
    filters = distinct(filters, 0x1FFFFFFF)
    kept = 0x1FFFFFFF
    while len(filters) > most:
        fewest, best = len(filters) + 1, 0
        for bit in range(29):
            if kept >> bit & 1:
                left = len(distinct(filters, kept & ~(1 << bit)))
                if left < fewest:
                    fewest, best = left, bit
        kept &= ~(1 << best)
        filters = distinct(filters, kept)
    return filters


def distinct(filters, kept):
    found = []
    for can_id, mask, extended in filters:
        one = (can_id & mask & kept, mask & kept, bool(extended))
        if one not in found:
            found.append(one)
    return found

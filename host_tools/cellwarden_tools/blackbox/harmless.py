"""A state that somebody else wrote is looked at before the core goes on from it.

Machine code of the core does not ask whether an index is one. These are the words by which it finds others. How far
each word of an honest state goes stands in tests/core/bounds.py; tests hold that this is no stricter.
"""

from cellwarden.core import layout as L

CELL_SPAN_MV = 5000  # between the lowest and the highest cell that can be read


def indices(params):
    """(word, lowest, highest) of every word of a vehicle's state that is used as a place or counts places."""
    cells, probes = params[L.P_CELLS], params[L.P_PROBES]
    slots = L.SCALARS + cells + probes
    yield L.MODE, L.UNKNOWN, L.ASLEEP
    yield L.PHASE, L.PHASE_DONE, L.PHASE_CELLS
    yield L.NEXT_CELL, 0, max(cells, CELL_SPAN_MV)
    yield L.RING, 0, 4
    yield L.SOC_NEXT, 0, 5
    yield L.TREND_POINTS, 0, 4
    for word in (L.MOST_SHORTS_AT, L.MOST_DRIFT_AT, L.MOST_CONTACT_AT, L.MOST_FALL_AT, L.MOST_SENSE_AT):
        yield word, 0, cells
    for feature in range(L.FEATURES):
        dead = feature in (L.F_CELLS_DEAD, L.F_PROBES_DEAD)
        yield L.FEATURES_AT + L.SLOT + feature, 0, slots if dead else slots - 1
        yield L.FEATURES_AT + L.WHERE + feature, 0, max(cells, probes, 1)
    first, end = L.state_sections(params)["rules"]
    for row in range(first, end, L.RULE_SIZE):
        yield row + L.LEVEL_NOW, 0, 3
        for level in range(3):
            yield row + L.FIRST_SLOT + level, 0, slots - 1


def harm(state, params):
    """What is wrong with a state (array of int32) of a vehicle, as words for people, or None."""
    for word, low, high in indices(params):
        if not low <= state[word] <= high:
            return f"word {word} is {state[word]}, and no core makes it other than {low} to {high}"
    if state[L.PHASE] == L.PHASE_CELLS and state[L.NEXT_CELL] > params[L.P_CELLS]:
        return f"word {L.NEXT_CELL} is {state[L.NEXT_CELL]}, and the vehicle has {params[L.P_CELLS]} cells"
    return None

"""The detection core: pure integer functions over int32 arrays. Nothing but `micropython` is imported here."""

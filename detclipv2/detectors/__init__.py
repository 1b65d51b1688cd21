"""Any open-vocabulary detector behind one interface."""

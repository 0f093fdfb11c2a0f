"""Old name of schedules/180e_drop-60.py, for configs of your own; it goes with the next release."""

_base_ = './schedules/180e_drop-60.py'
_deprecation_ = dict(expected='_base_/schedules/180e_drop-60.py')

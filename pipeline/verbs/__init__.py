"""What each verb of the command line does: gather settings, call one room, say what came of it.

trading       run, replay, demo, backtest, record
control       halt, flatten, resume, status, ring, and the ledger: orders, positions, trades
simulation    simulate, generate
recordings    ticks
settings      check-config, show-config
information   calendar, version, compare
"""

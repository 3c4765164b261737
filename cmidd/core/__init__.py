"""The door of a plug-in's author: the interfaces, the match, and the world that a method is given.

Imports compute, synthetic and what is below.
"""

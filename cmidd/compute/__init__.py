"""Computing and training networks: engine, devices, passes, gradients, k-means.

Imports data, networks, utils.
"""

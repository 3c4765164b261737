"""The synthetic set: its images and labels, how stored images stand for training images, others' files, pictures.

Imports data, networks, utils.
"""

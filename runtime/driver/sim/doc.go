// Package sim is a driver whose containers are hollow: they have a state and nothing
// else. Thousands of nodes fit in one process with it, to measure control planes, and
// tests of the agent decide with it when a container ends and what an image pull says.
package sim

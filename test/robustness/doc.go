// Package robustness runs three real servers, lets clients write, read and watch through any
// of them while machines, networks and disks fail, and proves afterwards that nobody was
// told anything wrong. README.md says how, and how to look at a run that failed.
package robustness

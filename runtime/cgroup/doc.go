// Package cgroup makes and removes the control groups that pods live under, on hosts with
// cgroup v1, v2 or both. Containers' own groups are made by the OCI runtime below them.
// It knows paths and limits, and nothing of pods.
package cgroup

// Package runtime holds no code: its folders are the node agent of Pintle. agent runs
// pods, driver is what it asks of a container runtime, and image, volume, probe, stream,
// logs, cgroup and stats are the rooms between the two. Nothing here knows the core or a
// plugin: the API server is reached with client-go, pod networking through sdk/network.
package runtime

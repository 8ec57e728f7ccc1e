// Package scheduling holds a real server, its scheduler and an example plugin with a part in
// scheduling, each in a process of its own, to what an operator and a pod's owner see. It knows
// the program and its API only.
package scheduling

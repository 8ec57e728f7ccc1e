// Package runtimedriver tests nodes whose containers are run by a plugin, against a real server and
// agents: what people see of pods, and what becomes of them when the plugin dies, is upgraded, or is
// not there.
package runtimedriver

// Package logs writes and reads container log files in the format of the Container
// Runtime Interface: one line per line of output, with a timestamp, the stream and a tag
// that says whether the line is whole. It knows files and nothing of containers.
package logs

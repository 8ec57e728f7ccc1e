// Package cache is a small bounded map for outcomes that are expensive to work out again
// and stop being true at a known time. It must not know what it holds.
package cache

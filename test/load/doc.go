// Package load holds a server of its own to what a large and busy cluster needs: a start from
// disk, lists by many clients at once and hours of writes, in bounded time, memory and disk; and
// a disk that fills up. By default everything is small, to be run always; make load is the rest.
package load

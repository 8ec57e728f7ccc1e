//go:build !race

package cel_test

const raced = false

// Package varying does what a state machine must not do.
package varying

import (
	"math/rand/v2"
	"time"
)

// Vary differs from call to call.
func Vary(m map[string]int) (out int64) {
	for _, v := range m {
		out = int64(v)
	}
	ch := make(chan int, 1)
	go func() { ch <- rand.Int() }()
	select {
	case v := <-ch:
		out += int64(v)
	default:
	}
	return out + time.Now().Unix()
}

package cache_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pintle-dev/pintle/core/auth/internal/cache"
)

// Whatever is done, the cache returns only what was last put and has not expired, and
// keeps what was put within the last size distinct puts.
func TestCacheAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const size = 4
		c := cache.New[int, int](size)
		type entry struct{ value, until int }
		model := map[int]entry{}
		base, now := time.Unix(0, 0), 0
		at := func(n int) time.Time { return base.Add(time.Duration(n) * time.Second) }
		last := -1
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v, ttl := rapid.IntRange(0, 9).Draw(t, "key"), rapid.Int().Draw(t, "value"), rapid.IntRange(0, 5).Draw(t, "ttl")
				c.Put(k, v, at(now+ttl))
				model[k] = entry{v, now + ttl}
				last = k
			},
			"later": func(t *rapid.T) { now += rapid.IntRange(0, 3).Draw(t, "by") },
			"get": func(t *rapid.T) {
				k := rapid.IntRange(0, 9).Draw(t, "key")
				v, ok := c.Get(k, at(now))
				want, exists := model[k]
				alive := exists && now < want.until
				if ok && (!alive || v != want.value) {
					t.Fatalf("get %d: %d, want %+v (alive %v)", k, v, want, alive)
				}
				if !ok && alive && k == last {
					t.Fatalf("get %d: the newest entry was lost", k)
				}
			},
		})
	})
}

package encryption_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/pintle-dev/pintle/core/encryption"
	"github.com/pintle-dev/pintle/core/store"
)

// BenchmarkStore writes, reads and lists objects of 1 KiB, sealed and open: what is served from
// memory, and what has to be read from the disk.
func BenchmarkStore(b *testing.B) {
	raw := make([]byte, 512)
	if _, err := rand.Read(raw); err != nil {
		b.Fatal(err)
	}
	value := hex.EncodeToString(raw) // as little to compress as in what is worth sealing
	for _, mode := range []string{"open", "sealed"} {
		for _, cache := range []int64{64 << 20, 1} {
			where := "memory"
			if cache == 1 {
				where = "disk"
			}
			b.Run(mode+"/"+where, func(b *testing.B) {
				cfg := store.Config{Dir: b.TempDir(), Bootstrap: true, MinFreeBytes: 1 << 20, Logger: testLog(), CacheBytes: cache}
				var keys *encryption.Keyring
				if mode == "sealed" {
					var err error
					keys, err = encryption.New(encryption.Config{KeyFile: keyFile(b, "k1"), Resources: resources(b, "secrets"), Logger: testLog()})
					if err != nil {
						b.Fatal(err)
					}
					cfg.Sealer = keys
				}
				ctx := context.Background()
				st, err := store.Open(ctx, cfg)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = st.Close() })
				if keys != nil {
					keys.Attach(st)
				}
				s := &server{Store: st}
				const n = 1000
				for i := range n {
					s.put(b, fmt.Sprintf("secrets/a/%d", i), value)
				}
				if cache > 1 {
					b.Run("put, 256 at once", func(b *testing.B) {
						var i atomic.Int64
						b.SetParallelism(128)
						b.RunParallel(func(pb *testing.PB) {
							for pb.Next() {
								s.put(b, fmt.Sprintf("secrets/a/%d", i.Add(1)%n), value)
							}
						})
					})
				}
				b.Run("get", func(b *testing.B) {
					for i := 0; b.Loop(); i++ {
						if _, err := st.Get(ctx, store.Key(fmt.Sprintf("secrets/a/%d", i%n))); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("list of 1000", func(b *testing.B) {
					for b.Loop() {
						if _, err := st.List(ctx, "secrets/", store.ListOptions{}); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkEnvelope seals and opens objects by themselves.
func BenchmarkEnvelope(b *testing.B) {
	key := make([]byte, 32)
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		data := make([]byte, size)
		envelope, err := encryption.SealWith(key, 1, "secrets/default/x", 40, data)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("seal %d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			s := encryption.Bound(key)
			for b.Loop() {
				s.Seal("secrets/default/x", 40, data)
			}
		})
		b.Run(fmt.Sprintf("open %d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			s := encryption.Bound(key)
			for b.Loop() {
				if err := s.Open("secrets/default/x", 40, envelope); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

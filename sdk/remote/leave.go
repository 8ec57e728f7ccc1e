package remote

import "context"

// Leave is for who is about to stop the process that is attached: new calls are refused with
// 503, those that are under way end where they began. [Bundle.Drain] waits for them.
func (b *Bundle) Leave() {
	s := b.stream.Swap(nil)
	if s == nil {
		return
	}
	b.retiring.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), b.timeout)
		defer cancel()
		s.Finish(ctx)
	})
}

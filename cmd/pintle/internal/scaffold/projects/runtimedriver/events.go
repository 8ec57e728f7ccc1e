package main

import (
	"context"

	"github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// waiting is how many events wait for a subscriber. One that is too slow loses its channel, and
// lists anew.
const waiting = 1024

// Events implements runtimedriver.Observer.
func (d *driver) Events(ctx context.Context) (<-chan runtimedriver.Event, error) {
	ch := make(chan runtimedriver.Event, waiting)
	d.mu.Lock()
	d.subscribers[ch] = true
	d.mu.Unlock()
	context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.leave(ch)
	})
	return ch, nil
}

// leave closes a subscriber's channel. The caller holds the lock.
func (d *driver) leave(ch chan runtimedriver.Event) {
	if d.subscribers[ch] {
		delete(d.subscribers, ch)
		close(ch)
	}
}

// happen changes the state, and tells what happened when it is kept.
func (d *driver) happen(change func(*state) ([]runtimedriver.Event, error)) error {
	var events []runtimedriver.Event
	if err := d.file.change(func(st *state) (err error) { events, err = change(st); return err }); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range events {
		for ch := range d.subscribers {
			select {
			case ch <- e:
			default:
				d.leave(ch)
			}
		}
	}
	return nil
}

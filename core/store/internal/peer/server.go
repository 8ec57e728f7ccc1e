package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// Request is a message from another server.
type Request struct {
	// From is the other server's name, which its certificate confirms where there is TLS.
	From string
	Kind byte
	Body []byte
	// Notify sends a notice to the server that asked, now or as long as the connection
	// stands; its error says that it does not.
	Notify func(body []byte) error
	// Gone is closed when the connection ends.
	Gone <-chan struct{}
}

// Handler answers requests, each on a goroutine of its own. ctx ends with the connection.
// An error that is a *Refusal reaches the other side with its code.
type Handler func(ctx context.Context, r Request) ([]byte, error)

// Refusal is an error with a code that crosses the connection.
type Refusal struct {
	Code    uint16
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// serve answers the requests of one connection until it ends.
func serve(c net.Conn, name string, handle Handler) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &frameWriter{w: c}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer c.Close()
	r := bufio.NewReaderSize(c, 32<<10)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		wg.Go(func() {
			body, err := handle(ctx, Request{
				From: name, Kind: f.kind, Body: f.body, Gone: ctx.Done(),
				Notify: func(b []byte) error { return w.write(frame{kind: statusNotice, body: b}) },
			})
			answer := frame{call: f.call, kind: statusDone, body: body}
			if err != nil {
				answer.kind, answer.body = statusFailed, encodeRefusal(err)
			}
			if w.write(answer) != nil {
				_ = c.Close()
			}
		})
	}
}

func encodeRefusal(err error) []byte {
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Message: err.Error()}
	}
	return append(binary.BigEndian.AppendUint16(nil, r.Code), r.Message...)
}

func decodeRefusal(b []byte) error {
	if len(b) < 2 {
		return &Refusal{Message: "refused without a reason"}
	}
	return &Refusal{Code: binary.BigEndian.Uint16(b), Message: string(b[2:])}
}

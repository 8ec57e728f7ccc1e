// Package tunnel carries a connection's bytes over a gRPC stream, so that a plugin's mutually
// authenticated channel is the only way to it. It must not know what the bytes mean.
package tunnel

import (
	"net"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
)

// Stream is either end of a stream of bytes.
type Stream interface {
	Send(*pluginv1.Bytes) error
	Recv() (*pluginv1.Bytes, error)
}

// chunk is the most that is sent in one message.
const chunk = 32 << 10

// Join passes bytes between the stream and the connection until one of them ends; done then ends
// the other: it is called once, and must make Send and Recv fail. Join returns when nothing is
// passed on any more. The connection is closed.
func Join(stream Stream, conn net.Conn, done func()) {
	received := make(chan struct{})
	go func() {
		defer close(received)
		defer func() { _ = conn.Close() }()
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			if _, err := conn.Write(m.GetData()); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, chunk)
	for {
		n, err := conn.Read(buf)
		if n > 0 && stream.Send(&pluginv1.Bytes{Data: buf[:n]}) != nil {
			break
		}
		if err != nil {
			break
		}
	}
	_ = conn.Close()
	done()
	<-received
}

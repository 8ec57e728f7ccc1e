package calls

import (
	"context"
	"io"

	"google.golang.org/grpc"
)

// OpenRaw returns a caller's end of a line, and the connection at the other.
func OpenRaw(ctx context.Context) (grpc.ClientStream, io.ReadWriteCloser) {
	a, b, err := localPipes()
	if err != nil {
		panic(err)
	}
	return newClientLine(ctx, context.Background(), a), b
}

// Unserved returns a line at whose other end nobody reads.
func Unserved(ctx context.Context) (grpc.ClientStream, error) {
	s, far := OpenRaw(ctx)
	context.AfterFunc(ctx, func() { _ = far.Close() })
	return s, nil
}

// Frames reads frames; held is how many bytes are held for them.
func Frames(from io.Reader, longest int) (next func() (byte, []byte, error), held func() int) {
	f := &frameReader{from: from, longest: longest}
	return f.next, func() int { return len(f.buf) }
}

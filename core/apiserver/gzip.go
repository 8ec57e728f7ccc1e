package apiserver

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// compress reports whether an answer of a size is worth compressing: on the loopback
// and on unix sockets bandwidth costs less than the processor does.
func (q *request) compress(size int) bool {
	limit := q.server.cfg.Limits.GzipBytes
	if limit < 0 || size < limit || !strings.Contains(q.r.Header.Get("Accept-Encoding"), "gzip") {
		return false
	}
	return !isLocal(q.r)
}

func isLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return true // a unix socket has no address
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is valid
	return z
}}

func gzipWriter(w http.ResponseWriter) *gzip.Writer {
	z, _ := gzips.Get().(*gzip.Writer)
	z.Reset(w)
	return z
}

func putGzip(z *gzip.Writer) {
	_ = z.Close() // an error means that the client has gone
	z.Reset(io.Discard)
	gzips.Put(z)
}

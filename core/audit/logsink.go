package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"gopkg.in/natefinch/lumberjack.v2"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// LogConfig says where the log is written. Zero means no limit, but for MaxSize.
type LogConfig struct {
	// Path of the file; "-" is standard output, which is not rotated.
	Path string
	// MaxAge in days and MaxBackups in number that old files are kept for.
	MaxAge, MaxBackups int
	// MaxSize in megabytes at which a file is closed and a new one begun; 0 means 100.
	MaxSize int
}

// Log is a Sink that writes one event per line, as JSON.
type Log struct {
	mu  sync.Mutex
	out io.Writer
}

var _ Sink = (*Log)(nil)

// OpenLog checks that the file can be written to.
func OpenLog(cfg LogConfig) (*Log, error) {
	if cfg.Path == "-" {
		return &Log{out: os.Stdout}, nil
	}
	f, err := os.OpenFile(cfg.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Log{out: &lumberjack.Logger{Filename: cfg.Path, MaxAge: cfg.MaxAge, MaxBackups: cfg.MaxBackups, MaxSize: cfg.MaxSize}}, nil
}

// Write implements Sink.
func (l *Log) Write(e *auditv1.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an audit event: %w", err)
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.out.Write(line); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// Run implements Sink: it closes the file at the end.
func (l *Log) Run(ctx context.Context) error {
	<-ctx.Done()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c, ok := l.out.(*lumberjack.Logger); ok {
		// A later event opens the file again.
		return c.Close()
	}
	return nil
}

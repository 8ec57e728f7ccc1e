package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// recordFile is the name of the record in a sandbox's or container's directory.
const recordFile = "record.json"

// sandboxRecord is what is remembered of a sandbox.
type sandboxRecord struct {
	Config    driver.SandboxConfig `json:"config"`
	CreatedAt time.Time            `json:"createdAt"`
	// PauseID is the containerd id of the pause container, if there is one.
	PauseID string `json:"pauseID,omitempty"`
}

// containerRecord is what is remembered of a container. The configuration is reduced to
// what is asked for after creation: environments may hold secrets.
type containerRecord struct {
	ID         string            `json:"id"`
	SandboxID  string            `json:"sandboxID"`
	PodUID     string            `json:"podUID"`
	Name       string            `json:"name"`
	Attempt    int               `json:"attempt"`
	Image      string            `json:"image"`
	ImageID    string            `json:"imageID"`
	Labels     map[string]string `json:"labels,omitempty"`
	LogPath    string            `json:"logPath"`
	TTY        bool              `json:"tty,omitempty"`
	Stdin      bool              `json:"stdin,omitempty"`
	StdinOnce  bool              `json:"stdinOnce,omitempty"`
	StopSignal string            `json:"stopSignal,omitempty"`
	KillAll    bool              `json:"killAll,omitempty"`
	PID        int               `json:"pid,omitempty"`

	CreatedAt  time.Time `json:"createdAt"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	Finished   bool      `json:"finished,omitempty"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	ExitCode   int32     `json:"exitCode,omitempty"`
	OOMKilled  bool      `json:"oomKilled,omitempty"`
	Error      string    `json:"error,omitempty"`
}

// writeRecord replaces the record in dir so that a reader sees the old or the new one.
func writeRecord(dir string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write record in %s: %w", dir, err)
	}
	tmp := filepath.Join(dir, "."+recordFile)
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, recordFile)); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// readRecords reads the records of all directories in parent. A directory without a
// whole record was cut off while being made; it is removed where that is possible.
func readRecords[T any](parent string, log *slog.Logger, add func(dir string, r T)) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		b, err := os.ReadFile(filepath.Join(dir, recordFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read records: %w", err)
		}
		var r T
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err != nil {
			log.Warn("removing an unfinished record", "dir", dir, "err", err)
			if err := removeStateDir(dir); err != nil {
				log.Warn("cannot remove an unfinished record", "dir", dir, "err", err)
			}
			continue
		}
		add(dir, r)
	}
	return nil
}

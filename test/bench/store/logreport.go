package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// logResults is everything about logs, as the JSON file has it.
type logResults struct {
	Machine machine  `json:"machine"`
	Seconds float64  `json:"seconds"`
	Rows    []logRow `json:"rows"`
}

const logExplanation = `Raft with one voter and a state machine that does nothing, in a process of its own; writers of
1 KiB in a closed loop, gathered into entries as core/store gathers them, every entry durable
before it is acknowledged; snapshots cut the log again and again. CPU is that of the whole
process, Raft and writers included, which is the same for all. Syncs are fsync, fdatasync and
msync, counted by strace in a run of its own. At the end the process is killed while it writes;
another one opens the log, which is timed, and reads and checks every entry as a follower does.
`

func (r *logResults) write(name string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".json", append(b, '\n'), 0o644); err != nil {
		return err
	}
	var md strings.Builder
	fmt.Fprintf(&md, "# Logs for Raft\n\n%s %g s each.\n\n%s\n", r.Machine, r.Seconds, logExplanation)
	md.WriteString("| in flight | log | writes/s | writes per entry | CPU µs/write | syncs per entry | dirtied ÷ data |" +
		" memory MiB | disk MiB | reopen ms | read µs/entry | entries left |\n|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, x := range r.Rows {
		writes := float64(max(x.Writes, 1))
		syncs := "–"
		if x.SyncsPerEntry >= 0 {
			syncs = fmt.Sprintf("%.2f", x.SyncsPerEntry)
		}
		fmt.Fprintf(&md, "| %d | %s | %.0f | %.1f | %.1f | %s | %.2f | %.1f | %.1f | %.1f | %.1f | %d |\n",
			x.InFlight, x.Kind, writes/x.Seconds, writes/float64(max(x.Entries, 1)), x.CPUSeconds*1e6/writes, syncs,
			float64(x.WrittenBytes)/(writes*valueBytes), mib(x.PSSBytes), mib(x.DiskBytes), x.OpenMillis,
			x.ReadMillis*1e3/float64(max(x.ReadEntries, 1)), x.ReadEntries)
	}
	if _, err := io.WriteString(os.Stdout, md.String()); err != nil {
		return err
	}
	return os.WriteFile(name+".md", []byte(md.String()), 0o644)
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

const explanation = `Both sides are asked by etcd's Go client over gRPC without TLS, on loopback, by one client
process: etcd itself, and core/store behind the same messages (package front). Both make every
write durable (fsync) before they answer, gets and ranges are linearizable on both, and all
requests go to the leader. Values are 1 KiB of %s, a range is a page of 500, one
watch operation is one event at one of 100 watchers and its latency is from the begin of the put
to the event. Sides work in turns (A B B A). CPU is that of the server processes, all members
together; ratios are the store's figure to etcd's, and above 1 the store is ahead in all columns.
`

// write leaves name.md and name.json, and shows the former.
func (r *results) write(name string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".json", append(b, '\n'), 0o644); err != nil {
		return err
	}
	var md strings.Builder
	r.markdown(&md)
	if _, err := io.WriteString(os.Stdout, md.String()); err != nil {
		return err
	}
	return os.WriteFile(name+".md", []byte(md.String()), 0o644)
}

func (r *results) markdown(w *strings.Builder) {
	fmt.Fprintf(w, "# core/store beside etcd %s\n\n%s\n\n%s", r.Machine.Etcd, r.Machine, fmt.Sprintf(explanation, r.Values))
	for _, members := range topologies {
		fmt.Fprintf(w, "\n## %s\n\n", plural(members))
		w.WriteString("| work | in flight | /s store | etcd | ratio | p50 ms store | etcd | p99 ms store | etcd | ratio |" +
			" CPU µs/op store | etcd | per CPU s, ratio | writes per log entry |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		for _, work := range works {
			for _, n := range inflights {
				a, b := r.row(members, work, n, "store"), r.row(members, work, n, "etcd")
				fmt.Fprintf(w, "| %s | %d | %.0f | %.0f | %s | %s | %s | %s | %s | %s | %.1f | %.1f | %s | %s |\n", work, n,
					a.PerSecond, b.PerSecond, ratio(a.PerSecond, b.PerSecond), ms(a.P50Micros), ms(b.P50Micros),
					ms(a.P99Micros), ms(b.P99Micros), ratio(b.P99Micros, a.P99Micros), a.CPUMicros, b.CPUMicros,
					ratio(a.PerCPUSecond, b.PerCPUSecond), perEntry(a))
			}
		}
		r.asUsed(w, members)
		a, b := r.total(members, "store"), r.total(members, "etcd")
		w.WriteString("\n| over all of it | store | etcd | ratio |\n|---|--:|--:|--:|\n")
		fmt.Fprintf(w, "| writes of 1 KiB | %d | %d | |\n", a.Writes, b.Writes)
		for _, line := range []struct {
			name string
			a, b float64
		}{
			{"memory after the puts, MiB (PSS)", mib(r.row(members, "put", 256, "store").PSSBytes), mib(r.row(members, "put", 256, "etcd").PSSBytes)},
			{"memory at the end, MiB (PSS)", mib(a.PSSBytes), mib(b.PSSBytes)},
			{"of it without pages of files, MiB", mib(a.AnonymousBytes), mib(b.AnonymousBytes)},
			{"largest memory, MiB (PSS)", mib(a.PeakPSSBytes), mib(b.PeakPSSBytes)},
			{"disk at the end, MiB", mib(a.DiskBytes), mib(b.DiskBytes)},
			{"disk per write, KiB", perWrite(a.DiskBytes, a), perWrite(b.DiskBytes, b)},
			{"pages dirtied per write, KiB", perWrite(a.WrittenBytes, a), perWrite(b.WrittenBytes, b)},
			{"CPU seconds, from start to end", a.CPUSeconds, b.CPUSeconds},
		} {
			fmt.Fprintf(w, "| %s | %.1f | %.1f | %s |\n", line.name, line.a, line.b, ratio(line.b, line.a))
		}
	}
	w.WriteString("\n## Budget\n\n")
	for _, members := range topologies {
		direct, theirs := r.row(members, "put", 256, inProcess), r.row(members, "put", 256, "etcd")
		verdict(w, fmt.Sprintf("%s, 256 in flight, store API: writes per CPU second, at least 2 × those of etcd's servers", plural(members)),
			direct.PerCPUSecond, theirs.PerCPUSecond, 2)
		direct, theirs = r.row(members, "put", 1, inProcess), r.row(members, "put", 1, "etcd")
		verdict(w, fmt.Sprintf("%s, 1 in flight, store API: writes per second, not behind etcd's", plural(members)), direct.PerSecond, theirs.PerSecond, 1)
		a, b := r.row(members, "put", 256, "store"), r.row(members, "put", 256, "etcd")
		verdict(w, fmt.Sprintf("%s, 256 in flight, both over gRPC: writes per CPU second, at least 2 × etcd's", plural(members)), a.PerCPUSecond, b.PerCPUSecond, 2)
		a, b = r.row(members, "put", 1, "store"), r.row(members, "put", 1, "etcd")
		verdict(w, fmt.Sprintf("%s, 1 in flight, both over gRPC: writes per second, not behind etcd's", plural(members)), a.PerSecond, b.PerSecond, 1)
	}
}

// asUsed sets the store as the API server uses it, in one process, beside etcd as kube-apiserver
// does, over its client: then a client's CPU counts too.
func (r *results) asUsed(w *strings.Builder, members int) {
	w.WriteString("\nAs they are used: the store by the functions of its API, in the leader's process; CPU has all members and whoever asks.\n\n" +
		"| work | in flight | /s store API | etcd | ratio | p50 ms store API | etcd | CPU µs/op store API | etcd's servers | and its client | ratio to the servers | to both |\n" +
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, work := range works {
		for _, n := range inflights {
			a, b := r.row(members, work, n, inProcess), r.row(members, work, n, "etcd")
			if a.Ops == 0 {
				continue
			}
			fmt.Fprintf(w, "| %s | %d | %.0f | %.0f | %s | %s | %s | %.1f | %.1f | %.1f | %s | %s |\n", work, n,
				a.PerSecond, b.PerSecond, ratio(a.PerSecond, b.PerSecond), ms(a.P50Micros), ms(b.P50Micros),
				a.CPUMicros, b.CPUMicros, b.ClientCPUMicros, ratio(b.CPUMicros, a.CPUMicros), ratio(b.CPUMicros+b.ClientCPUMicros, a.CPUMicros))
		}
	}
}

func verdict(w *strings.Builder, what string, a, b, want float64) {
	said := "not met"
	if b > 0 && a/b >= want {
		said = "met"
	}
	fmt.Fprintf(w, "- %s: %.0f to %.0f, %s ×: **%s**\n", what, a, b, ratio(a, b), said)
}

func (r *results) row(members int, work string, inflight int, side string) row {
	for _, x := range r.Rows {
		if x.Members == members && x.Work == work && x.InFlight == inflight && x.Side == side {
			return x
		}
	}
	return row{}
}

func (r *results) total(members int, side string) total {
	for _, t := range r.Totals {
		if t.Members == members && t.Side == side {
			return t
		}
	}
	return total{}
}

func plural(members int) string {
	if members == 1 {
		return "One member"
	}
	return fmt.Sprint(members, " members")
}

func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func perEntry(r row) string {
	if r.OpsPerEntry == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", r.OpsPerEntry)
}

func perWrite(bytes int64, t total) float64 {
	return float64(bytes) / 1024 / float64(max(t.Writes, 1))
}

func ms(micros float64) string { return fmt.Sprintf("%.2f", micros/1e3) }
func mib(bytes int64) float64  { return float64(bytes) / (1 << 20) }

// Command compare prints two runs of the load generator side by side as a Markdown table:
//
//	compare peers.json pintle.json
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type phase map[string]any

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: compare PEERS PINTLE")
		os.Exit(2)
	}
	peers, err := read(os.Args[1])
	if err == nil {
		var ours []phase
		if ours, err = read(os.Args[2]); err == nil {
			compare(peers, ours)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "compare:", err)
	os.Exit(1)
}

func read(file string) ([]phase, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []phase
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var p phase
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, p)
	}
	return out, s.Err()
}

func (p phase) num(key string) (float64, bool) {
	v, ok := p[key].(float64)
	return v, ok
}

// cpu is the server's CPU time of one operation in milliseconds.
func cpu(run []phase, i int) (float64, bool) {
	if i == 0 {
		return 0, false
	}
	now, ok1 := run[i].num("server_cpu_s_total")
	before, ok2 := run[i-1].num("server_cpu_s_total")
	n, ok3 := run[i].num("n")
	if !ok3 {
		n, ok3 = run[i].num("pods")
	}
	if !ok1 || !ok2 || !ok3 || n == 0 || now < before {
		return 0, false
	}
	return (now - before) / n * 1000, true
}

func compare(peers, ours []phase) {
	fmt.Println("| phase | measure | peers | Pintle | ratio |")
	fmt.Println("|---|---|---:|---:|---:|")
	for i, p := range peers {
		if i >= len(ours) || ours[i]["phase"] != p["phase"] {
			fmt.Printf("| %v | not measured on both sides | | | |\n", p["phase"])
			continue
		}
		o := ours[i]
		for _, m := range []struct{ key, name string }{
			{"per_s", "per second"}, {"p50_ms", "p50, ms"}, {"p99_ms", "p99, ms"}, {"mib_per_s", "MiB/s"},
			{"server_pss_mib", "memory (PSS), MiB"},
		} {
			a, ok1 := p.num(m.key)
			b, ok2 := o.num(m.key)
			if ok1 && ok2 {
				row(p["phase"], m.name, a, b)
			}
		}
		if a, ok := cpu(peers, i); ok {
			if b, ok := cpu(ours, i); ok {
				row(p["phase"], "CPU per operation, ms", a, b)
			}
		}
		if codes := strings.TrimSpace(fmt.Sprint(o["first_error"])); o["first_error"] != nil {
			fmt.Printf("| %v | first error of Pintle | | %s | |\n", p["phase"], codes)
		}
	}
}

func row(phase any, name string, a, b float64) {
	ratio := "—"
	if a != 0 {
		ratio = fmt.Sprintf("%.2f", b/a)
	}
	fmt.Printf("| %v | %s | %s | %s | %s |\n", phase, name, figure(a), figure(b), ratio)
}

func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

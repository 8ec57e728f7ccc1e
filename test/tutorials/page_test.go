package tutorials

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// step is one thing that a page says to do.
type step struct {
	line int
	// script is a block of shell. It is empty where the second terminal is interrupted.
	script string
	// beside says that it is run in a second terminal.
	beside bool
	// wanted are lines that must have been printed.
	wanted []string
}

const (
	besideMark    = "*In a second terminal"
	interruptMark = "<!-- tutorial: interrupt -->"
)

var fence = regexp.MustCompile("^```([a-z]*)$")

// readPage finds the steps in a page.
func readPage(file string) ([]step, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var steps []step
	var block []string
	language, inside, beside := "", false, false
	for i, line := range strings.Split(string(text), "\n") {
		mark := fence.FindStringSubmatch(line)
		switch {
		case inside && line == "```":
			inside = false
			switch language {
			case "sh":
				steps = append(steps, step{line: i + 1 - len(block), script: strings.Join(block, "\n") + "\n", beside: beside})
				beside = false
			case "text":
				if len(steps) == 0 || steps[len(steps)-1].script == "" {
					return nil, fmt.Errorf("%s:%d: there is nothing before this that prints", file, i+1)
				}
				steps[len(steps)-1].wanted = block
			default:
				return nil, fmt.Errorf("%s:%d: a block is of sh, which is run, or text, which is printed", file, i+1)
			}
		case inside:
			block = append(block, line)
		case mark != nil:
			inside, language, block = true, mark[1], nil
		case strings.Contains(line, besideMark):
			beside = true
		case strings.Contains(line, interruptMark):
			steps = append(steps, step{line: i + 1})
		}
	}
	if inside {
		return nil, fmt.Errorf("%s: a block is not closed", file)
	}
	return steps, nil
}

// missing is the first line that is wanted and not in the output, which has the others in order.
func missing(output string, wanted []string) string {
	lines := strings.Split(output, "\n")
	for _, w := range wanted {
		if strings.TrimSpace(w) == "" {
			continue
		}
		var parts []string
		for _, p := range strings.Split(strings.Join(strings.Fields(w), " "), "…") {
			parts = append(parts, regexp.QuoteMeta(strings.TrimSpace(p)))
		}
		pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		found := -1
		for i, l := range lines {
			if pattern.MatchString(strings.Join(strings.Fields(l), " ")) {
				found = i
				break
			}
		}
		if found < 0 {
			return w
		}
		lines = lines[found+1:]
	}
	return ""
}

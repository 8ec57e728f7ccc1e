// Command pintle is the control plane, the node agent, its first-party plugins, and the
// tools around them, in one binary.
package main

import (
	"os"
	_ "time/tzdata" // CronJobs name time zones, and a machine may know none

	"github.com/pintle-dev/pintle/cmd/pintle/internal/cli"
)

func main() {
	os.Exit(cli.Main())
}

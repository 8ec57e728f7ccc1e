package process

import "github.com/pintle-dev/pintle/sdk/serve"

// TrimAfterStart gives back what memory only the start of the process needed, as each plugin
// does. Several processes are made of one large binary.
func TrimAfterStart() { serve.TrimAfterStart() }

func giveBack() { serve.GiveBack() }

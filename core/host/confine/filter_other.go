//go:build !amd64 && !arm64

package confine

import "errors"

func filterCalls(*Guest) error {
	return errors.New("there is no list of system calls for this processor")
}

package auth

import (
	"encoding/base64"
	"strings"
)

func websocketToken(protocols []string) string {
	for _, line := range protocols {
		for p := range strings.SplitSeq(line, ",") {
			encoded, ok := strings.CutPrefix(strings.TrimSpace(p), websocketTokenPrefix)
			if !ok {
				continue
			}
			if token, err := base64.RawURLEncoding.DecodeString(encoded); err == nil {
				return string(token)
			}
		}
	}
	return ""
}

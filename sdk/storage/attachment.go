package storage

import (
	"crypto/sha256"
	"encoding/hex"
)

// AttachmentName is the name of the VolumeAttachment of a storage's volume at a node, as
// Kubernetes forms it. Its status says whether the volume is attached, and has in
// attachmentMetadata what MountVolume needs as PublishContext.
func AttachmentName(driver, handle, node string) string {
	sum := sha256.Sum256([]byte(handle + driver + node))
	return "csi-" + hex.EncodeToString(sum[:])
}

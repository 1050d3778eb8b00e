# What is signed or trusts signatures is left out where keys are missing, and the reason says what to do.
# A box that trusts nobody could never be updated again, so there is no image without a keyring either.
GATEWAY_KEYS_NEEDED ?= "keyring.pem"

# nooelint: oelint.task.noanonpython
python () {
    import os
    folder = d.getVar("GATEWAY_KEYS")
    if not folder:
        return
    for name in d.getVar("GATEWAY_KEYS_NEEDED").split():
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            raise bb.parse.SkipRecipe("there is no %s (GATEWAY_KEYS); yocto/make-keys makes keys to try with" % path)
}

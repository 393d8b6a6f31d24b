# Copyright (c) The mmpointrend authors.

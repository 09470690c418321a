from tests.rig import channels as channels
from tests.rig import processes as processes

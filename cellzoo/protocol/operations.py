"""Which operations a SavedModel holds, read from its file before TensorFlow loads it.

A SavedModel is a program: TensorFlow runs what its graph says, with the rights of the user. The
list here lets calculations pass and stops operations that reach files, the network or Python. It
is a net and not a wall: allowed operations can still take all memory or time, and TensorFlow
itself may have faults.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from cellzoo.protocol.messages import SavedModel

# What our exports hold and similar networks may hold; all of it calculates from its inputs and the
# model's variables alone.
_CALCULATIONS = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin Assert AvgPool BatchMatMul BatchMatMulV2
    BatchMatMulV3 BiasAdd BroadcastTo Cast Ceil ClipByValue Concat ConcatV2 Const Conv2D
    Conv2DBackpropInput Cumsum DecodeJpeg DecodePng DecodeRaw DepthToSpace
    DepthwiseConv2dNative Einsum Elu EnsureShape Equal Erf Exp ExpandDims Expm1 ExtractJpegShape
    Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd
    GatherV2 Greater GreaterEqual Identity IdentityN If InTopKV2 IsFinite IsInf IsNan LeakyRelu
    Less LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool
    MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan Neg NoOp NotEqual OneHot OnesLike
    Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow Prod Range Rank RealDiv
    Reciprocal Relu Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor
    ReverseV2 Rint Roll Round Rsqrt ScatterNd Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin
    Size Slice Softmax Softplus Softsign SpaceToBatchND BatchToSpaceND SpaceToDepth Split SplitV
    Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessWhile
    StaticRegexFullMatch StopGradient StridedSlice StringJoin StringLength Sub Substr Sum Tan Tanh
    TensorListConcatV2 TensorListFromTensor TensorListGetItem TensorListLength TensorListPushBack
    TensorListReserve TensorListSetItem TensorListStack Tile TopKV2 Transpose TruncateDiv Unpack
    Where While ZerosLike
    AssignVariableOp DisableCopyOnRead ReadVariableOp ResourceGather VarHandleOp
    VarIsInitializedOp VariableShape
    """.split()
)
# They write and read a checkpoint: part of every SavedModel, for which nobody calls them.
_CHECKPOINT = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"})


class ForeignOperations(ValueError):
    """A SavedModel does more than calculate.

    Attributes:
        operations: names of the operations that no export of ours has.
    """

    def __init__(self, file: Path, operations: list[str]):
        """Args: see the attributes; ``file`` begins the sentence."""
        self.operations = operations
        super().__init__(
            f"{file} holds {', '.join(operations[:5])}{' ...' * (len(operations) > 5)}, which no "
            "export of cellzoo has: such a model can reach files or other programs. Add --trust "
            "if you know who made it"
        )


def check_operations(folder: Path) -> None:
    """Looks at the graph of a SavedModel before anything of it is loaded.

    Args:
        folder: of the SavedModel.

    Raises:
        ForeignOperations: it holds operations that our exports do not have.
        ValueError: ``saved_model.pb`` is damaged.
        OSError: it cannot be read.
    """
    file = folder / "saved_model.pb"
    foreign = foreign_operations(file.read_bytes())
    if foreign:
        raise ForeignOperations(file, foreign)


def foreign_operations(content: bytes) -> list[str]:
    """Sorted names of operations in a ``saved_model.pb`` that do more than calculate.

    Raises:
        ValueError: the content is damaged.
    """
    try:
        graphs = SavedModel.FromString(content).meta_graphs
    except DecodeError as error:
        raise ValueError("saved_model.pb is damaged") from error
    return sorted({name for graph in graphs for name in _foreign(graph)})


def _foreign(graph: Any) -> Iterable[str]:
    """The names of one graph; a checkpoint may be written and read by its saver alone."""
    saver = graph.saver_def
    savers = {_node(saver.save_tensor_name), _node(saver.restore_op_name)} - {""}
    nodes = list(graph.graph_def.node)
    saving = {name for node in nodes if node.name in savers for name in _functions(node)}
    reachable = set(graph.object_graph_def.concrete_functions)
    for node in nodes:
        if node.name not in savers:
            reachable |= {node.op, *_functions(node)}
            if savers & {_node(source) for source in node.input}:
                reachable |= saving
        if node.op not in _CALCULATIONS:
            yield node.op
    for function in graph.graph_def.functions.function:
        own = function.signature.name in saving
        for node in function.node_def:
            reachable |= {node.op, *_functions(node)}
            if node.op not in _CALCULATIONS and not (own and node.op in _CHECKPOINT):
                yield node.op
    tensors = (
        tensor.name
        for signature in graph.signature_def.values()
        for tensor in (*signature.inputs.values(), *signature.outputs.values())
    )
    if reachable & saving or savers & {_node(tensor) for tensor in tensors}:
        yield "SaveV2"


def _functions(node: Any) -> set[str]:
    """Names of functions that a node may call; a call may also be an operation of that name."""
    names = {function.name for value in node.attr.values() for function in value.list.func}
    return (names | {value.func.name for value in node.attr.values()}) - {""}


def _node(tensor: str) -> str:
    """Name of the node that a tensor or an input is of."""
    return tensor.removeprefix("^").partition(":")[0]

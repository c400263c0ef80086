// A sum runs in the lanes of several accumulators, which are added up in a fixed order.
// run: lower vectorize hoist
// kernel k(x: f32[16,300]) -> (y):
//   y[i] := sum[j] x[i, j]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c16 = arith.constant 16 : index
//     %c1 = arith.constant 1 : index
//     %c300 = arith.constant 300 : index
//     %cst = arith.constant 0.0 : f32
//     %cst_1 = arith.constant dense<0.0> : vector<16xf32>
//     %c256 = arith.constant 256 : index
//     %c64 = arith.constant 64 : index
//     %c32 = arith.constant 32 : index
//     %c48 = arith.constant 48 : index
//     %c288 = arith.constant 288 : index
//     %0 = arith.subi %c300, %c288 : index
//     %1 = vector.broadcast %0 : index to vector<16xindex>
//     %2 = "vector.step"() : () -> vector<16xindex>
//     %3 = arith.cmpi slt, %2, %1 : vector<16xindex>
//     scf.for %i = %c0 to %c16 step %c1 {
//       %4 = arith.muli %i, %c300 : index
//       %5, %6, %7, %8 = scf.for %i_1 = %c0 to %c256 step %c64 iter_args(%9 = %cst_1, %10 = %cst_1, %11 = %cst_1, %12 = %cst_1) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
//         %13 = arith.addi %4, %i_1 : index
//         %14 = vector.load %x[%13] : memref<?xf32>, vector<16xf32>
//         %15 = arith.addf %9, %14 : vector<16xf32>
//         %16 = arith.addi %i_1, %c16 : index
//         %17 = arith.addi %4, %16 : index
//         %18 = vector.load %x[%17] : memref<?xf32>, vector<16xf32>
//         %19 = arith.addf %10, %18 : vector<16xf32>
//         %20 = arith.addi %i_1, %c32 : index
//         %21 = arith.addi %4, %20 : index
//         %22 = vector.load %x[%21] : memref<?xf32>, vector<16xf32>
//         %23 = arith.addf %11, %22 : vector<16xf32>
//         %24 = arith.addi %i_1, %c48 : index
//         %25 = arith.addi %4, %24 : index
//         %26 = vector.load %x[%25] : memref<?xf32>, vector<16xf32>
//         %27 = arith.addf %12, %26 : vector<16xf32>
//         scf.yield %15, %19, %23, %27 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
//       }
//       %28 = arith.addf %5, %6 : vector<16xf32>
//       %29 = arith.addf %28, %7 : vector<16xf32>
//       %30 = arith.addf %29, %8 : vector<16xf32>
//       %31 = scf.for %i_2 = %c256 to %c288 step %c16 iter_args(%32 = %30) -> (vector<16xf32>) {
//         %33 = arith.addi %4, %i_2 : index
//         %34 = vector.load %x[%33] : memref<?xf32>, vector<16xf32>
//         %35 = arith.addf %32, %34 : vector<16xf32>
//         scf.yield %35 : vector<16xf32>
//       }
//       %36 = arith.addi %4, %c288 : index
//       %37 = vector.maskedload %x[%36], %3, %cst_1 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
//       %38 = arith.addf %31, %37 : vector<16xf32>
//       %39 = arith.select %3, %38, %31 : vector<16xi1>, vector<16xf32>
//       %40 = vector.reduction <add>, %39 : vector<16xf32> into f32
//       %41 = arith.addf %cst, %40 : f32
//       memref.store %41, %y[%i] : memref<?xf32>
//       scf.yield
//     } {tdsl.parallel, tdsl.cost = 301 : i64}
//     func.return
//   }
// }
